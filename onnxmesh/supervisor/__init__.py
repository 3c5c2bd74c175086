"""Services as processes of their own on this machine, kept alive by one that starts them."""
