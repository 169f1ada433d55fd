"""The studio: the three panels live in a browser, and the JSON API behind them. A leaf: nothing imports it."""
