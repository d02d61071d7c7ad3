"""From a request to a decision: rules, features, policy, draw."""
