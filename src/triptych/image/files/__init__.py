"""Pictures in and out of files: read safely, in folders, arrays and masks."""
