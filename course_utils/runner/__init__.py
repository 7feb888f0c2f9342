"""What runs the notebooks: build, execution, bands and the command line. No notebook imports it."""
