"""The ablation of HMDRN (arXiv 2506.20263), and two baselines, on photographs of one's own."""
