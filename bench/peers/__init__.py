"""What runs in a process of its own: one script a peer, ``python SCRIPT MEASURE COUNT``."""
