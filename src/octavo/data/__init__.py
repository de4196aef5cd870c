"""Files of the user's -> examples."""
