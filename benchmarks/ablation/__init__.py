"""Ablation of HMDRN (arXiv 2506.20263), and two baselines, on your own photos."""
