# CLUSTER/DATABASE/NODE@host:port, where host:port is the API of any node of the cluster
terraform import 'atoll_database_member.app["sg1"]' 'web/app/sg1@sg1.example.net:7443'
