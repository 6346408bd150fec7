"""Films of pasted subjects, and how well the motion detector finds them."""
