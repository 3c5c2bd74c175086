"""Who is in the mesh: ports, and the adapters that stand behind them."""
