"""The image panel: pictures, painted pixel by pixel."""
