CREATE TABLE customers (customer_id INTEGER PRIMARY KEY, name TEXT, city TEXT, joined_on DATE);
CREATE TABLE cakes (cake_id INTEGER PRIMARY KEY, cake_name TEXT, flavour TEXT, price REAL);
CREATE TABLE orders (order_id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers(customer_id), cake_id INTEGER REFERENCES cakes(cake_id), quantity INTEGER, ordered_on DATE);
INSERT INTO customers VALUES (1, 'Ana', 'Lyon', '2021-03-02'), (2, 'Bram', 'Ghent', '2022-07-19'), (3, 'Chloe', 'Lyon', '2023-01-30'), (4, 'Dario', 'Turin', NULL);
INSERT INTO cakes VALUES (1, 'Opera', 'coffee', 32.0), (2, 'Paris-Brest', 'praline', 27.5), (3, 'Fraisier', 'strawberry', 35.0), (4, 'Savarin', 'rum', 18.0);
INSERT INTO orders VALUES (1, 1, 1, 2, '2023-02-01'), (2, 1, 3, 1, '2024-05-11'), (3, 2, 2, 4, '2023-11-20'), (4, 3, 1, 1, '2024-01-09'), (5, 4, 4, 3, '2023-06-30'), (6, 3, 1, 2, '2023-06-30');
