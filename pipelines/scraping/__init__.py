"""The parts of the pipeline `scrape`: plain functions that know no run, step or queue."""
