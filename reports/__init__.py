"""What is concluded. Reads only trial files."""
