# CLUSTER: nothing is asked, the next apply fills in the rest
terraform import atoll_failure_analysis.web web
