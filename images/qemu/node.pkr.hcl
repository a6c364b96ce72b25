# The node image for physical machines, hypervisors and other clouds, and the file to upload to Linode. One machine boots the
# base disk, becomes a node, seals itself and switches off; finish.sh makes the files.

locals {
  name  = "atoll-node-${var.version}-amd64"
  build = "${var.output}/.${local.name}.building"
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

source "qemu" "node" {
  iso_url      = var.base_image
  iso_checksum = var.base_checksum
  disk_image   = true
  format       = "raw"
  # The disk stays as large as the base: it grows on the machine that it becomes.
  skip_resize_disk = true
  disk_discard     = "unmap"
  disk_cache       = "unsafe"
  output_directory = local.build
  vm_name          = "disk.raw"

  accelerator = var.accelerator
  cpu_model   = var.cpu_model
  cpus        = var.cpus
  memory      = var.memory
  headless    = true
  qemuargs = [
    ["-serial", "file:${local.build}.console.log"],
    ["-device", "virtio-rng-pci"],
  ]

  # Whoever logs in does so with this key, and it is gone in the end.
  cd_label = "cidata"
  cd_content = {
    "meta-data" = "instance-id: build\nlocal-hostname: localhost\n"
    "user-data" = "#cloud-config\n${yamlencode({
      users               = []
      disable_root        = false
      ssh_pwauth          = false
      ssh_authorized_keys = [trimspace(file("${var.ssh_key}.pub"))]
    })}"
  }
  communicator         = "ssh"
  ssh_username         = "root"
  ssh_private_key_file = var.ssh_key
  ssh_timeout          = "15m"
  boot_wait            = "-1s"

  shutdown_command = "systemctl poweroff"
  shutdown_timeout = "5m"
}

build {
  sources = ["source.qemu.node"]

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
    destination = "${local.build}.sbom.cdx.json"
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

  post-processor "shell-local" {
    command = "${path.root}/finish.sh"
    env = {
      ATOLL_NAME        = local.name
      ATOLL_OUTPUT      = var.output
      ATOLL_DISK        = "${local.build}/disk.raw"
      ATOLL_SBOM        = "${local.build}.sbom.cdx.json"
      ATOLL_COMPRESSION = var.compression
    }
  }
}
