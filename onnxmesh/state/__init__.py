"""What a mesh must not forget: ports, and the adapters that stand behind them."""
