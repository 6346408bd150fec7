"""The pages of hmdrn studio, a module each."""
