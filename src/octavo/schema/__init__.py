"""What is written to disk or handed to reports: records, and nothing that makes them."""
