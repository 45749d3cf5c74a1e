"""LeRobot datasets, read and written: parquet for numbers, mp4 or png for pictures. `convert.py` uses it."""
