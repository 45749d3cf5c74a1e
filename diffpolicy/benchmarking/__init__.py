"""Side-by-side measurements that anyone can repeat: ours against its peers, on one machine, in one run."""
