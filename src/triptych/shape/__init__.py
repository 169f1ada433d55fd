"""Floor 0, without torch: what a model is made of, and who may attend to whom."""
