# CLUSTER/NAME@host:port, where host:port is the API of any node of the cluster
terraform import atoll_replication_pair.uploads 'web/uploads@sg1.example.net:7443'
