"""Plans as pictures. Laying out is pure and measured in boxes; only `drawing` knows SVG."""
