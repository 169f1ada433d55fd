"""The music panel: pieces and their files, notes to tokens and back, data, measures, the composer."""
