"""What is arranged with the hosts as nepa_mm is imported: names, types, plain data."""
