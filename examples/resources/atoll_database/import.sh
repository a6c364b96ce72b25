# CLUSTER/NAME@host:port, where host:port is the API of any node of the cluster
terraform import atoll_database.app 'web/app@sg1.example.net:7443'
