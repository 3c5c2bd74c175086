"""Values that describe models, devices, plans and partitions. Pure."""
