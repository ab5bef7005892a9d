"""Make the `surface-defects` model package: render, train, quantize, judge, describe."""
