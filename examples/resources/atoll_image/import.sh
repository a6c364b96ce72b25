# Linode's id of an image that an atoll_image has uploaded
terraform import atoll_image.node 'private/12345'
