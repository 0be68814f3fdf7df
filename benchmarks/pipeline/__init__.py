"""Training by several processes: throughput, message sizes, and a simulation of more processes."""
