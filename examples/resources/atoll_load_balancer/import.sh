# The hostname. What only Terraform knows of the nodes comes back with the next apply, which changes nothing at Cloudflare.
terraform import atoll_load_balancer.www 'www.example.com'
