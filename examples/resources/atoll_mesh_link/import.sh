# CLUSTER/FROM/TO@host:port, where host:port is the API of any node of the cluster
terraform import atoll_mesh_link.sg_os 'web/sg1/os1@sg1.example.net:7443'
