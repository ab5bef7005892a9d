"""The side that signs: roots of trust, releases, rollouts, bundles."""
