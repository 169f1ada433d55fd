"""Piano performances: events, grammar, data, and the product `Pianist`."""
