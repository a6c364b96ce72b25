# The node image as a Linode image, built on a Linode: the same description as in ../qemu, over what Linode calls Debian. An
# image that ../qemu has built can be uploaded instead, and needs no Linode to be made.

locals {
  # Where the description is inside the machine.
  inside = "/var/tmp/atoll"
  environment = [
    "ATOLL_VERSION=${var.version}",
    "ATOLL_ATOLLD=${local.inside}/atolld",
    "ATOLL_DATABASES=${join(" ", var.databases)}",
    "ATOLL_MYSQL_ARCHIVE=${var.mysql_archive}",
    "ATOLL_MYSQL_KEY=${var.mysql_key == "" ? "" : base64encode(file(var.mysql_key))}",
    "ATOLL_MIRROR=${var.mirror}",
    "ATOLL_SECURITY_MIRROR=${var.security_mirror}",
    "ATOLL_SNAPSHOT=${var.snapshot}",
    "ATOLL_SNAPSHOT_SERVICE=${var.snapshot_service}",
    "ATOLL_VALID_UNTIL=${var.check_valid_until ? "yes" : "no"}",
    "SOURCE_DATE_EPOCH=${var.source_date_epoch}",
  ]
}

source "linode" "node" {
  linode_token  = var.linode_token
  region        = var.region
  instance_type = var.instance_type
  image         = var.base_image

  instance_label    = "atoll-image-${substr(uuidv4(), 0, 8)}"
  image_label       = var.image_label == "" ? "atoll-node-${regex_replace(var.version, "[+~]", "-")}" : var.image_label
  image_description = "Atoll node ${var.version}"
  # Every region that is to have a copy, the one it was made in too: Linode removes it from all others.
  image_regions = length(var.regions) == 0 ? [] : distinct(concat([var.region], var.regions))
  # Linodes that are made of the image are given their first-boot data as user-data.
  cloud_init = true

  communicator = "ssh"
  ssh_username = "root"
}

build {
  sources = ["source.linode.node"]

  provisioner "shell" {
    inline = ["mkdir -p ${local.inside}"]
  }
  provisioner "file" {
    source      = "${path.root}/../node/"
    destination = local.inside
  }
  provisioner "file" {
    source      = var.atolld
    destination = "${local.inside}/atolld"
  }
  provisioner "shell" {
    environment_vars = local.environment
    inline           = ["chmod 755 ${local.inside}/atolld", "cd ${local.inside} && sh build.sh scripts/[1-8]*.sh"]
  }
  provisioner "hcp-sbom" {
    source      = "/usr/lib/atoll/sbom.cdx.json"
    destination = var.sbom
    sbom_name   = "atoll-node"
  }
  provisioner "shell" {
    environment_vars = local.environment
    inline = [
      "(cd ${local.inside} && sh build.sh scripts/9*.sh)",
      "cp ${local.inside}/check.sh /run/check.sh",
      "rm -rf ${local.inside}",
      "sh /run/check.sh /",
    ]
  }
}
