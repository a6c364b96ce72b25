# CLUSTER/NODE@host:port, where host:port is the API of any node of the cluster
terraform import atoll_node.hk1 'web/hk1@hk1.example.net:7443'
