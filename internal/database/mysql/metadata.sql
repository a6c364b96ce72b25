-- What MySQL Router 9.7 reads of a cluster: the metadata schema of MySQL Shell in version 2.4.0, as far as Router asks for it.
-- A cluster is the group, its id the group's. There are no cluster sets and no asynchronous replicas, so their views are empty.
-- Tables are made once; what changes in a later release of Atoll are the views.

CREATE OR REPLACE SQL SECURITY INVOKER VIEW mysql_innodb_cluster_metadata.schema_version (major,minor,patch) AS SELECT 2,4,0;

CREATE TABLE IF NOT EXISTS mysql_innodb_cluster_metadata.clusters (cluster_id CHAR(36) CHARACTER SET ascii PRIMARY KEY, cluster_name VARCHAR(63) NOT NULL UNIQUE, group_name CHAR(36) NOT NULL, options JSON, attributes JSON, router_options JSON, primary_mode ENUM('pm','mm') NOT NULL DEFAULT 'pm');

CREATE TABLE IF NOT EXISTS mysql_innodb_cluster_metadata.instances (instance_id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, cluster_id CHAR(36) CHARACTER SET ascii NOT NULL, address VARCHAR(265) CHARACTER SET ascii NOT NULL, mysql_server_uuid CHAR(36) NOT NULL UNIQUE, label VARCHAR(265) NOT NULL, attributes JSON);

CREATE TABLE IF NOT EXISTS mysql_innodb_cluster_metadata.routers (router_id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, router_name VARCHAR(265) NOT NULL, product_name VARCHAR(128) NOT NULL, address VARCHAR(256) CHARACTER SET ascii NOT NULL, version VARCHAR(12), last_check_in TIMESTAMP NULL, attributes JSON, cluster_id CHAR(36) CHARACTER SET ascii, options JSON, clusterset_id VARCHAR(36) CHARACTER SET ascii, UNIQUE KEY(address,router_name));

CREATE TABLE IF NOT EXISTS mysql_innodb_cluster_metadata.router_stats (router_id INT UNSIGNED PRIMARY KEY, last_check_in TIMESTAMP NULL);

CREATE OR REPLACE SQL SECURITY INVOKER VIEW mysql_innodb_cluster_metadata.v2_clusters AS SELECT 'gr' cluster_type, primary_mode, cluster_id, cluster_name, router_options FROM mysql_innodb_cluster_metadata.clusters;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW mysql_innodb_cluster_metadata.v2_gr_clusters AS SELECT 'gr' cluster_type, primary_mode, cluster_id, cluster_name, group_name, attributes, options, router_options, NULL description, NULL clusterset_id FROM mysql_innodb_cluster_metadata.clusters;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW mysql_innodb_cluster_metadata.v2_instances AS SELECT instance_id, cluster_id, label, mysql_server_uuid, address, address endpoint, NULL xendpoint, JSON_INSERT(COALESCE(attributes,'{}'),'$.instance_type','group-member') attributes, 'group-member' instance_type FROM mysql_innodb_cluster_metadata.instances;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW mysql_innodb_cluster_metadata.v2_this_instance AS SELECT i.cluster_id, i.instance_id, 'group-member' instance_type, c.cluster_name, 'gr' cluster_type FROM mysql_innodb_cluster_metadata.instances i JOIN mysql_innodb_cluster_metadata.clusters c USING(cluster_id) WHERE i.mysql_server_uuid=(SELECT CONVERT(variable_value USING utf8mb4) COLLATE utf8mb4_0900_ai_ci FROM performance_schema.global_variables WHERE variable_name='server_uuid');

CREATE OR REPLACE SQL SECURITY INVOKER VIEW mysql_innodb_cluster_metadata.v2_routers AS SELECT router_id, cluster_id, router_name, product_name, address, version, last_check_in, attributes, options, clusterset_id FROM mysql_innodb_cluster_metadata.routers;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW mysql_innodb_cluster_metadata.v2_router_options AS SELECT r.router_id, r.cluster_id, r.clusterset_id, JSON_MERGE_PATCH(COALESCE(c.router_options,'{}'),COALESCE(r.options,'{}')) router_options FROM mysql_innodb_cluster_metadata.routers r LEFT JOIN mysql_innodb_cluster_metadata.clusters c ON r.cluster_id=c.cluster_id;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW mysql_innodb_cluster_metadata.v2_ar_clusters AS SELECT 0 view_id, 'ar' cluster_type, cluster_id, cluster_name, attributes FROM mysql_innodb_cluster_metadata.clusters WHERE FALSE;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW mysql_innodb_cluster_metadata.v2_ar_members AS SELECT 0 view_id, cluster_id, instance_id, label, mysql_server_uuid member_id, 'PRIMARY' member_role FROM mysql_innodb_cluster_metadata.instances WHERE FALSE;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW mysql_innodb_cluster_metadata.v2_cs_clustersets AS SELECT 0 view_id, cluster_id clusterset_id, cluster_name domain_name, attributes, options, router_options FROM mysql_innodb_cluster_metadata.clusters WHERE FALSE;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW mysql_innodb_cluster_metadata.v2_cs_members AS SELECT 0 view_id, CAST(NULL AS CHAR(36)) clusterset_id, cluster_id, cluster_name, 'PRIMARY' member_role, NULL master_cluster_id, 0 invalidated FROM mysql_innodb_cluster_metadata.clusters WHERE FALSE;

CREATE TABLE IF NOT EXISTS mysql_innodb_cluster_metadata.router_rest_accounts (cluster_id CHAR(36) CHARACTER SET ascii NOT NULL, user VARCHAR(256) NOT NULL, authentication_method VARCHAR(64) NOT NULL DEFAULT 'modular_crypt_format', authentication_string TEXT CHARACTER SET ascii, description VARCHAR(255), privileges JSON, attributes JSON, PRIMARY KEY(cluster_id,user));

CREATE OR REPLACE SQL SECURITY INVOKER VIEW mysql_innodb_cluster_metadata.v2_router_rest_accounts AS SELECT * FROM mysql_innodb_cluster_metadata.router_rest_accounts;

CREATE TABLE IF NOT EXISTS mysql_innodb_cluster_metadata.clustersets (clusterset_id VARCHAR(36) CHARACTER SET ascii PRIMARY KEY, domain_name VARCHAR(63) NOT NULL, options JSON, attributes JSON, router_options JSON);

CREATE TABLE IF NOT EXISTS mysql_innodb_cluster_metadata.routing_guidelines (guideline_id VARCHAR(36) CHARACTER SET ascii PRIMARY KEY, name VARCHAR(63) NOT NULL UNIQUE, guideline JSON, clusterset_id VARCHAR(36) CHARACTER SET ascii, cluster_id VARCHAR(36) CHARACTER SET ascii, last_update TIMESTAMP, default_guideline BOOL NOT NULL);
