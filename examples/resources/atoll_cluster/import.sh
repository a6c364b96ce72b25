# NAME@host:port, where host:port is the API of any node of the cluster
terraform import atoll_cluster.web 'web@hk1.example.net:7443'
