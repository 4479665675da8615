"""What is asked of many runs: the demo, the paper, and what a step costs."""
