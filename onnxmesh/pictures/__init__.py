"""Pictures of plans: a pure layout of shapes and labels, which `drawing` renders as SVG."""
