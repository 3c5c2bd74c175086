"""What a mesh tells its operators."""
