"""A Ray cluster of two nodes on this machine, one of which can be killed: started and told by who runs this file."""

import os
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Print the address, kill the second node when told to by a line, and end with the standard input."""
    # Unix sockets in it: a long path would not do.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        # All of it, the note of the address that Ray keeps for "auto" too: no one else is to find this cluster. That
        # note is written into a folder that Ray expects to be there.
        os.environ["RAY_TMPDIR"] = folder
        # Ray lets its workers give way to everything else, and beside other tests they would never come to an end.
        os.environ["RAY_worker_niceness"] = "0"
        (Path(folder) / "ray").mkdir()
        from ray.cluster_utils import Cluster

        options = {"num_cpus": 1, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=options)
        second = cluster.add_node(num_cpus=1)
        print(cluster.address, flush=True)
        for _ in sys.stdin:
            cluster.remove_node(second, allow_graceful=False)
            print("killed", flush=True)
        for node in cluster.list_all_nodes()[::-1]:
            cluster.remove_node(node, allow_graceful=False)


if __name__ == "__main__":
    main()
