"""What a stage of training does to weights: masks, shared values, grids."""
