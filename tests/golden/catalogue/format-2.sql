BEGIN TRANSACTION;
CREATE TABLE catalogue_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT catalogue_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "catalogue_version" VALUES('0002');
CREATE TABLE changes (
	number BIGINT NOT NULL, 
	kind VARCHAR(20) NOT NULL, 
	product_id VARCHAR(200) NOT NULL, 
	photo_id BIGINT, 
	CONSTRAINT pk_changes PRIMARY KEY (number)
);
INSERT INTO "changes" VALUES(1,'product_set','mug-1',NULL);
INSERT INTO "changes" VALUES(2,'product_set','lamp-1',NULL);
INSERT INTO "changes" VALUES(3,'photo_set','mug-1',1);
INSERT INTO "changes" VALUES(4,'photo_set','lamp-1',2);
INSERT INTO "changes" VALUES(5,'photo_deleted','mug-1',1);
CREATE TABLE counters (
	id INTEGER NOT NULL, 
	catalogue_id VARCHAR(36) NOT NULL, 
	change_number BIGINT NOT NULL, 
	last_photo_id BIGINT NOT NULL, 
	log_start BIGINT DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_counters PRIMARY KEY (id), 
	CONSTRAINT ck_counters_one_row CHECK (id = 1)
);
INSERT INTO "counters" VALUES(1,'0b9f0a3e-6a4e-4c55-9f0c-2f4a1d1c7e11',5,2,0);
CREATE TABLE facets (
	name VARCHAR(200) NOT NULL, 
	type VARCHAR(20) NOT NULL, 
	position INTEGER NOT NULL, 
	CONSTRAINT pk_facets PRIMARY KEY (name)
);
INSERT INTO "facets" VALUES('price','number',0);
INSERT INTO "facets" VALUES('tags','keywords',1);
INSERT INTO "facets" VALUES('sale','boolean',2);
INSERT INTO "facets" VALUES('colour','keyword',3);
INSERT INTO "facets" VALUES('added','time',4);
CREATE TABLE photo_columns (
	name VARCHAR(200) NOT NULL, 
	CONSTRAINT pk_photo_columns PRIMARY KEY (name)
);
INSERT INTO "photo_columns" VALUES('split');
CREATE TABLE photos (
	photo_id BIGINT NOT NULL, 
	product_id VARCHAR(200) NOT NULL, 
	content_hash VARCHAR(64) NOT NULL, 
	uri TEXT NOT NULL, 
	columns JSON NOT NULL, 
	CONSTRAINT pk_photos PRIMARY KEY (photo_id), 
	CONSTRAINT fk_photos_product_id FOREIGN KEY(product_id) REFERENCES products (product_id)
);
INSERT INTO "photos" VALUES(2,'lamp-1','abababababababababababababababababababababababababababababababab','file:///shop/lamp.jpg','{"split":"train"}');
CREATE TABLE products (
	product_id VARCHAR(200) NOT NULL, 
	title TEXT, 
	facets JSON NOT NULL, 
	CONSTRAINT pk_products PRIMARY KEY (product_id)
);
INSERT INTO "products" VALUES('mug-1',NULL,'{"added":"2026-05-01T12:00:00+00:00","colour":"Blue"}');
INSERT INTO "products" VALUES('lamp-1','Tischlampe „Mond“','{"price":39.5,"sale":true,"tags":["brass","desk"]}');
CREATE TABLE vectors (
	content_hash VARCHAR(64) NOT NULL, 
	model_id VARCHAR(64) NOT NULL, 
	precision VARCHAR(20) NOT NULL, 
	dim INTEGER NOT NULL, 
	vector BLOB NOT NULL, 
	CONSTRAINT pk_vectors PRIMARY KEY (content_hash, model_id, precision)
);
INSERT INTO "vectors" VALUES('abababababababababababababababababababababababababababababababab','cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd','float32',4,X'003C0000003800B8');
CREATE INDEX ix_photos_product_id_photo_id ON photos (product_id, photo_id);
CREATE UNIQUE INDEX uq_photos_product_id_content_hash ON photos (product_id, content_hash);
COMMIT;
