"""Training, a file a panel: the settings of [data], where the data comes from, and the model that learns it."""
