"""Floor 3: looking inside. Numbers first, pictures second."""
