"""What acts in the environments: policies, learners, search and baselines."""
