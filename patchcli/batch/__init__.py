"""Many inputs: found, given their outputs, done here or elsewhere, told of."""
