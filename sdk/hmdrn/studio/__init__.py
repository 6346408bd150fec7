"""Pages to see, enroll and correct in a browser, served by the device itself (extra `studio`)."""
