"""The report's figures: one question a file, drawn by matplotlib, the same bytes from the same journal."""
