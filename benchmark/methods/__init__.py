"""Diffing methods, one file each, floors and ceilings too. The file name is the name on the leaderboard."""
