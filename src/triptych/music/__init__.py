"""The music panel: pieces, their files, chorales and piano performances."""
